package servers;

import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.interceptor.UserRequestRetryVersionConflictsInterceptor;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * A real FHIR R4 server for the tests: HAPI over H2 in memory, on loopback, nothing kept.
 *
 * <p>It refuses dangling references on write, as most hospitals configure HAPI. It starts without
 * the subscription module, whose background work would halve the speed of writing and so falsify
 * the benchmark. Properties: {@code port}; {@code exitWhenReady} to stop again at once, for the
 * class archive. It says READY and its base on standard output when it answers.
 */
public final class HapiServer {
    private static final int NO_LIMIT = -1;

    private HapiServer() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.getInteger("port", 8080);
        var spring = new AnnotationConfigApplicationContext(Wiring.class);
        Tomcat tomcat = listen(port, fhirServlet(spring));
        tomcat.start();
        int listening = tomcat.getConnector().getLocalPort();
        System.out.printf("READY http://127.0.0.1:%d/fhir%n", listening);
        if (Boolean.getBoolean("exitWhenReady")) {
            System.exit(0);
        }
        tomcat.getServer().await();
    }

    private static RestfulServer fhirServlet(AnnotationConfigApplicationContext spring) {
        IFhirSystemDao<?, ?> system = spring.getBean(IFhirSystemDao.class);
        var servlet = new RestfulServer(system.getContext());
        spring.getAutowireCapableBeanFactory().autowireBean(servlet);
        servlet.registerProviders(spring.getBean(ResourceProviderFactory.class).createProviders());
        servlet.registerProvider(spring.getBean(IJpaSystemProvider.class));
        servlet.setServerConformanceProvider(
                new JpaCapabilityStatementProvider(
                        servlet,
                        system,
                        spring.getBean(JpaStorageSettings.class),
                        spring.getBean(ISearchParamRegistry.class),
                        spring.getBean(IValidationSupport.class)));
        servlet.setPagingProvider(spring.getBean(DatabaseBackedPagingProvider.class));
        servlet.setDefaultResponseEncoding(EncodingEnum.JSON);
        // Without it, X-Retry-On-Version-Conflict is ignored and transfers that share an
        // organisation make each other fail with 409.
        servlet.registerInterceptor(new UserRequestRetryVersionConflictsInterceptor());
        return servlet;
    }

    private static Tomcat listen(int port, RestfulServer servlet) throws Exception {
        Path work = Files.createTempDirectory("hapi-tomcat");
        var connector = new Connector();
        connector.setPort(port);
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("relaxedQueryChars", "|"); // identifier=system|value as people write it
        connector.setMaxPostSize(NO_LIMIT);
        var tomcat = new Tomcat();
        tomcat.setBaseDir(work.toString());
        tomcat.setConnector(connector);
        var context = tomcat.addContext("", work.toString());
        Tomcat.addServlet(context, "fhir", servlet).setLoadOnStartup(1);
        context.addServletMappingDecoded("/fhir/*", "fhir");
        return tomcat;
    }
}
